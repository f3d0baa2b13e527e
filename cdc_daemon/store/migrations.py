"""The schema of the state file, as steps from each version to the next."""

from __future__ import annotations

MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE checkpoint (
        source TEXT PRIMARY KEY,
        segment_id INTEGER NOT NULL,
        position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE consumed_segment (
        segment_id INTEGER PRIMARY KEY,
        position INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE clock (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        bound INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL,
        keyspace_name TEXT,
        table_name TEXT,
        partition_key BLOB,
        clustering BLOB,
        segment_id INTEGER,
        position INTEGER,
        detail TEXT NOT NULL,
        payload BLOB
    ) STRICT;
    """,
    """
    CREATE TABLE schema_generation (
        id INTEGER PRIMARY KEY,
        table_id BLOB NOT NULL,
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        definition TEXT NOT NULL,
        first_seen INTEGER NOT NULL,
        replaced INTEGER
    ) STRICT;
    CREATE INDEX schema_generation_by_table ON schema_generation (table_id);
    """,
    """
    CREATE TABLE job (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        object_type TEXT NOT NULL,
        refresh TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT,
        created INTEGER NOT NULL,
        started INTEGER,
        finished INTEGER,
        total INTEGER NOT NULL,
        settled INTEGER NOT NULL DEFAULT 0,
        indexed INTEGER NOT NULL DEFAULT 0,
        deleted INTEGER NOT NULL DEFAULT 0,
        missing INTEGER NOT NULL DEFAULT 0,
        failed INTEGER NOT NULL DEFAULT 0
    ) STRICT;
    CREATE TABLE job_part (
        job TEXT NOT NULL,
        number INTEGER NOT NULL,
        ids TEXT NOT NULL,
        PRIMARY KEY (job, number)
    ) STRICT;
    CREATE TABLE job_failure (
        number INTEGER PRIMARY KEY,
        job TEXT NOT NULL,
        label TEXT NOT NULL,
        reason TEXT NOT NULL
    ) STRICT;
    CREATE INDEX job_failure_by_job ON job_failure (job);
    CREATE TRIGGER job_forgotten AFTER DELETE ON job BEGIN
        DELETE FROM job_part WHERE job = OLD.id;
        DELETE FROM job_failure WHERE job = OLD.id;
    END;
    """,
    """
    CREATE TABLE reconcile_request (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        reason TEXT NOT NULL,
        segment_id INTEGER NOT NULL,
        from_position INTEGER NOT NULL,
        to_position INTEGER,
        to_segment_id INTEGER,
        since INTEGER,
        until INTEGER,
        keyspace_name TEXT,
        table_name TEXT,
        detail TEXT NOT NULL,
        first_requested INTEGER NOT NULL,
        requested INTEGER NOT NULL,
        times INTEGER NOT NULL,
        settled INTEGER
    ) STRICT;
    CREATE INDEX reconcile_request_by_segment ON reconcile_request (segment_id);
    """,
    """
    CREATE TABLE range_job (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        origin TEXT NOT NULL,
        options TEXT NOT NULL,
        state TEXT NOT NULL,
        message TEXT,
        created INTEGER NOT NULL,
        started INTEGER,
        finished INTEGER,
        report TEXT NOT NULL
    ) STRICT;
    CREATE TABLE job_range (
        job TEXT NOT NULL,
        number INTEGER NOT NULL,
        object_type TEXT NOT NULL,
        first INTEGER NOT NULL,
        last INTEGER NOT NULL,
        cursor INTEGER NOT NULL,
        done INTEGER NOT NULL DEFAULT 0,
        rows INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (job, number)
    ) STRICT;
    CREATE TRIGGER range_job_forgotten AFTER DELETE ON range_job BEGIN
        DELETE FROM job_range WHERE job = OLD.id;
    END;
    """,
    """
    ALTER TABLE dead_letter RENAME TO old_dead_letter;
    CREATE TABLE dead_letter (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        reason TEXT NOT NULL,
        keyspace_name TEXT,
        table_name TEXT,
        partition_key BLOB,
        clustering BLOB,
        segment_id INTEGER,
        position INTEGER,
        detail TEXT NOT NULL,
        payload BLOB,
        alias TEXT NOT NULL,
        attempts INTEGER NOT NULL DEFAULT 1,
        last_at INTEGER
    ) STRICT;
    INSERT INTO dead_letter
        SELECT id, at, kind, reason, keyspace_name, table_name, partition_key, clustering, segment_id, position, detail,
            payload, CASE kind WHEN 'document' THEN coalesce(json_extract(detail, '$.index'), '') ELSE '' END, 1, NULL
        FROM old_dead_letter;
    DROP TABLE old_dead_letter;
    DELETE FROM dead_letter WHERE kind = 'document' AND id NOT IN (
        SELECT max(id) FROM dead_letter WHERE kind = 'document'
        GROUP BY keyspace_name, table_name, partition_key, clustering, alias
    );
    CREATE UNIQUE INDEX dead_letter_by_document
        ON dead_letter (keyspace_name, table_name, partition_key, clustering, alias) WHERE kind = 'document';
    DELETE FROM dead_letter WHERE kind <> 'document' AND position IS NOT NULL AND id NOT IN (
        SELECT min(id) FROM dead_letter WHERE kind <> 'document' GROUP BY kind, segment_id, position
    );
    CREATE UNIQUE INDEX dead_letter_by_position
        ON dead_letter (kind, segment_id, position) WHERE kind <> 'document' AND position IS NOT NULL;
    """,
    """
    CREATE TABLE watermark (
        source TEXT PRIMARY KEY,
        moment INTEGER NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE table_mark (
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        table_id BLOB NOT NULL,
        truncated INTEGER NOT NULL,
        dropped INTEGER NOT NULL,
        PRIMARY KEY (keyspace_name, table_name)
    ) STRICT;
    """,
    """
    CREATE TABLE spooled_key (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        partition_key BLOB NOT NULL,
        clustering BLOB NOT NULL,
        written INTEGER NOT NULL,
        removed INTEGER NOT NULL,
        suspected INTEGER NOT NULL,
        has_ttl INTEGER NOT NULL,
        refresh INTEGER NOT NULL,
        prefixes TEXT NOT NULL,
        generation INTEGER NOT NULL,
        UNIQUE (keyspace_name, table_name, partition_key, clustering)
    ) STRICT;
    """,
    """
    CREATE TABLE expiry (
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        partition_key BLOB NOT NULL,
        clustering BLOB NOT NULL,
        kind INTEGER NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (keyspace_name, table_name, partition_key, clustering, kind, at)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX expiry_by_time ON expiry (at);
    CREATE TABLE expiring_table (
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        PRIMARY KEY (keyspace_name, table_name)
    ) STRICT;
    ALTER TABLE spooled_key DROP COLUMN has_ttl;
    ALTER TABLE spooled_key ADD COLUMN expires TEXT NOT NULL DEFAULT '';
    """,
    """
    ALTER TABLE table_mark ADD COLUMN cdc INTEGER NOT NULL DEFAULT 1;
    """,
    """
    ALTER TABLE job_range ADD COLUMN side TEXT NOT NULL DEFAULT 'rows';
    """,
    """
    CREATE TABLE dependent (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        partition_key BLOB NOT NULL,
        clustering BLOB NOT NULL,
        version INTEGER NOT NULL,
        since INTEGER NOT NULL,
        requested INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        UNIQUE (keyspace_name, table_name, partition_key, clustering)
    ) STRICT;
    """,
    """
    ALTER TABLE table_mark ADD COLUMN altered INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE UNIQUE INDEX dead_letter_by_partition
        ON dead_letter (keyspace_name, table_name, partition_key) WHERE kind = 'partition';
    """,
    """
    CREATE TABLE suspect (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        partition_key BLOB NOT NULL,
        clustering BLOB NOT NULL,
        alias TEXT NOT NULL,
        document TEXT NOT NULL,
        routing TEXT,
        version INTEGER NOT NULL,
        since INTEGER NOT NULL,
        due INTEGER NOT NULL,
        generation INTEGER NOT NULL,
        UNIQUE (keyspace_name, table_name, alias, document)
    ) STRICT;
    CREATE INDEX suspect_by_due ON suspect (due);
    CREATE TABLE bulk_writing (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        running INTEGER NOT NULL,
        broken_off INTEGER NOT NULL,
        bound INTEGER NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE seen_segment (
        segment_id INTEGER PRIMARY KEY,
        state TEXT NOT NULL,
        seen INTEGER NOT NULL
    ) STRICT;
    """,
    """
    ALTER TABLE dead_letter ADD COLUMN table_id TEXT;
    ALTER TABLE dead_letter ADD COLUMN count INTEGER NOT NULL DEFAULT 1;
    UPDATE dead_letter SET table_id = json_extract(detail, '$.table_id')
        WHERE kind = 'mutation' AND reason = 'UnknownTableError';
    UPDATE dead_letter SET count = found.number
        FROM (SELECT min(id) AS first, count(*) AS number FROM dead_letter GROUP BY table_id) AS found
        WHERE dead_letter.id = found.first AND table_id IS NOT NULL;
    DELETE FROM dead_letter WHERE table_id IS NOT NULL AND id NOT IN (
        SELECT min(id) FROM dead_letter GROUP BY table_id
    );
    CREATE UNIQUE INDEX dead_letter_by_table_id ON dead_letter (table_id) WHERE table_id IS NOT NULL;
    DROP INDEX dead_letter_by_position;
    CREATE UNIQUE INDEX dead_letter_by_position ON dead_letter (kind, segment_id, position)
        WHERE kind <> 'document' AND position IS NOT NULL AND table_id IS NULL;
    """,
    """
    ALTER TABLE dependent ADD COLUMN passed INTEGER;
    """,
    """
    CREATE TABLE job_sums (
        job TEXT NOT NULL,
        object_type TEXT NOT NULL,
        sums BLOB NOT NULL,
        PRIMARY KEY (job, object_type)
    ) STRICT;
    CREATE TRIGGER range_job_finished AFTER UPDATE OF finished ON range_job WHEN NEW.finished IS NOT NULL BEGIN
        DELETE FROM job_sums WHERE job = NEW.id;
    END;
    """,
    """
    CREATE TABLE first_copy (
        object_type TEXT PRIMARY KEY,
        state TEXT NOT NULL,
        job TEXT
    ) STRICT;
    """,
    """
    ALTER TABLE clock ADD COLUMN untrusted_first INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE clock ADD COLUMN untrusted_last INTEGER NOT NULL DEFAULT 0;
    """,
    """
    CREATE TABLE own_node (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        host_id TEXT NOT NULL
    ) STRICT;
    """,
    """
    CREATE TABLE left_expiry (
        node TEXT NOT NULL,
        state_id BLOB NOT NULL,
        keyspace_name TEXT NOT NULL,
        table_name TEXT NOT NULL,
        partition_key BLOB NOT NULL,
        clustering BLOB NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (keyspace_name, table_name, partition_key, clustering, at, node, state_id)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX left_expiry_by_time ON left_expiry (at);
    CREATE TABLE state_identity (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        identity BLOB NOT NULL
    ) STRICT;
    INSERT INTO state_identity VALUES (1, randomblob(16));
    """,
    """
    CREATE TABLE slice_watermark (
        source TEXT NOT NULL,
        slice INTEGER NOT NULL,
        moment INTEGER NOT NULL,
        PRIMARY KEY (source, slice)
    ) STRICT;
    """,
)
"""Step N migrates the file from version N to N + 1. Append steps; never change one that was released."""
