"""What the front door does with a kick-off before it is a job: who is named, where it goes, what it continues."""
