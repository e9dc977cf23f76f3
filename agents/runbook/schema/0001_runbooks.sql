-- The database of runbooks, version 1. It belongs to the administrator; the role `runbooks` changes rows and nothing else.

CREATE EXTENSION IF NOT EXISTS vector;

CREATE TABLE documents (
    id          text PRIMARY KEY CHECK (starts_with(id, kind || '/')),
    kind        text   NOT NULL CHECK (kind IN ('runbook', 'incident')),
    title       text   NOT NULL,
    fault_class text   NOT NULL,
    digest      text   NOT NULL,
    symptoms    jsonb  NOT NULL DEFAULT '{}',
    journal_seq bigint NOT NULL DEFAULT 0,
    stored_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN documents.digest IS 'Changes whenever anything of the document does: only then it is stored again';
COMMENT ON COLUMN documents.symptoms IS 'Of a past incident: what it looked like, key -> weight (broker/contracts/symptoms.py)';
CREATE INDEX documents_incidents ON documents (journal_seq) WHERE kind = 'incident';

-- Words are kept in three forms at once, so that a question in English or German finds its kin, and a name stays a name.
-- What leads a document, its symptoms and errors, counts most, then its title.
CREATE FUNCTION runbook_words(title text, section text, body text, leads boolean) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT setweight(to_tsvector('simple', title || ' ' || section), 'B')
        || setweight(to_tsvector('english', title || ' ' || section), 'B')
        || setweight(to_tsvector('german', title || ' ' || section), 'B')
        || setweight(to_tsvector('simple', body), CASE WHEN leads THEN 'A' ELSE 'C' END::"char")
        || setweight(to_tsvector('english', body), CASE WHEN leads THEN 'A' ELSE 'C' END::"char")
        || setweight(to_tsvector('german', body), CASE WHEN leads THEN 'A' ELSE 'C' END::"char")
$$;

CREATE TABLE passages (
    document  text   NOT NULL REFERENCES documents ON DELETE CASCADE,
    n         integer NOT NULL CHECK (n >= 0),
    section   text   NOT NULL,
    body      text   NOT NULL,
    words     tsvector NOT NULL,
    embedder  text,
    embedding vector,
    PRIMARY KEY (document, n),
    CHECK ((embedder IS NULL) = (embedding IS NULL))
);
COMMENT ON COLUMN passages.embedder IS 'Model and dimension that made the vector: vectors of different ones are never compared';
CREATE INDEX passages_words ON passages USING gin (words);
CREATE INDEX passages_embedder ON passages (embedder);
