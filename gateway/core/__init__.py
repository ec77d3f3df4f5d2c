"""What the gateway decides. Nothing here waits, asks the time or touches a socket."""
