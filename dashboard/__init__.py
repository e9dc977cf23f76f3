"""What people look at: the API (`api`) and the page (`web`)."""
