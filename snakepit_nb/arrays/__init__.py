"""Zero copy: arrays that two processes see in the same memory."""
