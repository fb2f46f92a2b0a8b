"""python -m cosdd_zoo"""

from cosdd_zoo.cli import main

main()
