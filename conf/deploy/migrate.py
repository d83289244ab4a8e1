#!/usr/bin/env python3
"""Adds a column to a database of SQLite, or takes away what this deploy has added: migrate.py FILE expand|undo COLUMN.
It may be run again: it writes down what it has done, and for which deploy."""
import os, sqlite3, sys

path, what, column = sys.argv[1:4]
deploy = int(os.environ["DEPLOY_NUMBER"])
if what == "expand" and os.environ.get("BREAKS") == "migration":
    sys.exit("this migration fails")
with sqlite3.connect(path) as database:
    database.execute("create table if not exists users (name text)")
    database.execute("create table if not exists changes (deploy integer, added text)")
    columns = [row[1] for row in database.execute("pragma table_info(users)")]
    mine = database.execute("select 1 from changes where deploy = ? and added = ?", (deploy, column)).fetchone()
    if what == "expand" and column not in columns:
        # Only adds: the version that runs now does not notice.
        database.execute('alter table users add column "%s" text' % column)
        database.execute("insert into changes values (?, ?)", (deploy, column))
        print("users has", column, "now")
    elif what == "undo" and mine:
        database.execute('alter table users drop column "%s"' % column)
        database.execute("delete from changes where deploy = ?", (deploy,))
        print("users has no", column, "any more")
    else:
        print("nothing to do")
