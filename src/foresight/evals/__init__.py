"""Examinations: tasks, protocols, records, and what may be concluded from them."""
