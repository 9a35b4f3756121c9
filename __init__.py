"""gatewise: is this recurrent layer right, and if not, what exactly is wrong with it?"""
