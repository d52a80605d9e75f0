"""The commands of ``weakshot``, one file each."""
