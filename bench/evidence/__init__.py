"""What other people's libraries returned and published, held to the equations."""
