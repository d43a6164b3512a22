"""PostgreSQL: tables, migrations, and every SQL statement; encryption of account numbers."""
