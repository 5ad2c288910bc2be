"""The built-in tasks; `neuromas_env.make_task` finds them by exact name."""
