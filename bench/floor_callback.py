"""floor-callback: a Flask view that sends the form on as a task, and checks nothing."""

from __future__ import annotations

from flask import Flask, request

from bench.bare_celery import plain_celery

celery = plain_celery("floor_callback")
app = Flask("floor")


@app.post("/epay/callback")
def callback() -> str:
    """Send it on."""
    celery.send_task("floor.callback", kwargs=request.form.to_dict())
    return "success"
