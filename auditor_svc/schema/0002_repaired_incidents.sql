-- What the runbook agent may see of the audit: incidents that were repaired and verified, and what they looked like until
-- the first change. Two views with their owner's rights, so that nobody needs a right on the tables behind them.

CREATE VIEW repaired_incidents AS
SELECT c.incident, c.journal_seq, r.text, p.target, p.fault_class, done.actions
  FROM incident_closures c
  JOIN LATERAL (SELECT text FROM incident_reports WHERE incident = c.incident ORDER BY journal_seq LIMIT 1) r ON true
  JOIN LATERAL (
       SELECT p.target, p.fault_class FROM plans p JOIN plan_decisions d USING (incident, version, attempt)
        WHERE p.incident = c.incident AND p.version = c.plan_version AND d.accepted
        ORDER BY p.journal_seq DESC LIMIT 1) p ON true
  JOIN LATERAL (
       SELECT json_agg(json_build_object('type', t.type, 'target', t.target, 'args', t.args) ORDER BY s.journal_seq) AS actions
         FROM results s JOIN tasks t USING (incident, task_id, attempt)
        WHERE s.incident = c.incident AND s.status = 'OK' AND s.changed) done ON done.actions IS NOT NULL
 WHERE c.verdict = 'verified';

CREATE VIEW repaired_incident_telemetry AS
SELECT c.incident, e.journal_seq, e.payload
  FROM incident_closures c
  JOIN LATERAL (
       SELECT e.time_us FROM incident_reports r JOIN envelopes e USING (journal_seq)
        WHERE r.incident = c.incident ORDER BY r.journal_seq LIMIT 1) began ON true
  JOIN LATERAL (
       SELECT min(e.time_us) AS time_us FROM results s JOIN tasks t USING (incident, task_id, attempt)
         JOIN envelopes e ON e.journal_seq = t.journal_seq
        WHERE s.incident = c.incident AND s.changed) acted ON true
  JOIN envelopes e ON e.time_us BETWEEN began.time_us - 10000000 AND acted.time_us
 WHERE c.verdict = 'verified' AND e.refusal IS NULL AND starts_with(e.subject, 'triage.telemetry.')
   AND e.payload ->> 'status' <> 'OK';
COMMENT ON VIEW repaired_incident_telemetry IS 'From ten seconds before the report until the first order that changed something';
