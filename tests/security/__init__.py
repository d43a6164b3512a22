"""What a hostile or unlucky caller can send to the webhook, and that it comes to nothing."""
