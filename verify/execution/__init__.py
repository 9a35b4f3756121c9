"""Who runs what, where: the session, the judge, and the processes in which subjects run."""
