"""What explains failures without a search: crashes, and what is random."""
