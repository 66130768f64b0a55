"""``python -m xstilts`` is the command ``xstilts``."""

if __name__ == "__main__":  # and not in a spawned worker, which imports its parent's main module by another name
    from .cli import main

    main()
