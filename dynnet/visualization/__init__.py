"""Pictures of what dynamic networks do."""
