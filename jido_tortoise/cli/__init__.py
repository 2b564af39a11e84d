"""The command line: `jido-tortoise`, a file for each group of commands, by argparse, with rich when it is there."""
