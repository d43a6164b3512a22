"""What a person may do with a payout, who must approve it, and how it is recorded."""
