"""Every override of kombu and Celery internals; nothing outside this package relies on them.

`channel` and `qos` fetch messages atomically; BROKER_ATOMIC_FETCH=off replaces both by kombu's own
transport. `consumer` refuses invalid messages in either mode.
"""

_NAMES = {
    "kombu.transport.redis:Channel": (
        "_brpop_read _brpop_start conn_or_acquire _active_queues _brpop_sent_at _close_clients "
        "_create_client _flush_brpop_reauth _in_poll _lookup _poll_error _q_for_pri _queue_cycle "
        "active_queues brpop_timeout client connection_errors handlers health_check_interval pool "
        "priority_steps sep unacked_index_key unacked_key"
    ),
    "kombu.transport.redis:MultiChannelPoller": (
        "_client_registered _fd_to_chan _register on_readable"
    ),
    "kombu.transport.redis:QoS": (
        "ack append restore_by_tag restore_unacked_once _delivered _dirty _flush "
        "_quick_ack _quick_append _remove_from_indices can_consume_max_estimate reject "
        "unacked_index_key unacked_key"
    ),
    "kombu.transport.redis:Transport": "_callbacks _deliver Channel cycle",
    "kombu.utils.scheduling:round_robin_cycle": "consume rotate",
    "redis:Redis": "connection connection_pool parse_response",
    "redis:Connection": "disconnect send_command",
    "celery.worker.consumer:Consumer": (
        "connection_errors create_task_handler on_connection_error_after_connected "
        "on_decode_error on_invalid_task on_unknown_message on_unknown_task"
    ),
}
PRIVATE_NAMES = {place: names.split() for place, names in _NAMES.items()}
"""Names that kombu, redis-py and Celery do not document, by the class that has them.

tests/unit/worker/broker/test_private_names.py fails when an installed version has renamed one.
"""
