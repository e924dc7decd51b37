"""Messages generated from `protos/`; imports nothing of ours."""
