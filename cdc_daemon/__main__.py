"""`python -m cdc_daemon`: the command line."""

from cdc_daemon.cli.main import main

if __name__ == "__main__":
    main()
