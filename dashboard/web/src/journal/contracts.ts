// Made from broker/contracts by `python -m deploy.schemas`; do not edit.
/** Fields of every message type. */
export interface Contracts {
  "incident.reported": "incident" | "text" | "source";
  "incident.asked": "incident" | "n" | "question" | "version" | "attempt" | "plan_id" | "wait_s";
  "incident.answered": "incident" | "n" | "text";
  "incident.closed": "incident" | "verdict" | "reason" | "plan_version" | "actions" | "merged_into" | "unapproved";
  "telemetry": "device_id" | "timestamp" | "status" | "metrics" | "error_code" | "log_sample" | "note";
  "plan.requested": "incident" | "version" | "attempt" | "text" | "tried" | "failures" | "rejected" | "rulebook_only" | "dialogue";
  "plan.prompted": "incident" | "version" | "attempt" | "messages" | "prompt_hash" | "form" | "template" | "template_hash" | "targets" | "fault_classes";
  "plan.answered": "incident" | "version" | "attempt" | "outcome" | "response" | "prompt_hash" | "response_hash" | "model" | "settings" | "prompt_tokens" | "completion_tokens" | "elapsed_ms" | "error" | "template" | "template_hash" | "structured" | "schema_hash" | "fingerprint" | "finish_reason" | "timings";
  "plan.proposed": "incident" | "version" | "attempt" | "plan" | "origin" | "decision_tag" | "repairs" | "filled" | "mended" | "agreed" | "unusable";
  "plan.accepted": "incident" | "version" | "attempt" | "plan_id" | "order";
  "plan.rejected": "incident" | "version" | "attempt" | "plan_id" | "reasons";
  "plan.executed": "incident" | "version" | "completed" | "skipped" | "failed" | "actions";
  "task": "incident" | "task_id" | "attempt" | "kind" | "type" | "target" | "args" | "plan_version" | "risk" | "timeout_s" | "timer_id";
  "claim": "incident" | "task_id" | "attempt" | "kind" | "instance" | "task_seq" | "delivery";
  "result": "incident" | "task_id" | "attempt" | "kind" | "instance" | "status" | "out" | "meta" | "evidence" | "error_code" | "changed" | "elapsed_ms";
  "dead": "incident" | "task_id" | "attempt" | "reason";
  "deviation": "incident" | "n" | "kind" | "device" | "t_trigger_us" | "detail";
  "verified": "incident" | "n" | "plan_version" | "ok" | "reasons" | "window_s" | "samples" | "success_ratio";
  "agent.up": "instance" | "role" | "connection";
  "agent.lost": "instance" | "role" | "connection" | "reason" | "handed_on";
  "control.halt": "reason";
  "control.resume": "reason";
  "control.rotate": "key_version";
  "control.takeover": "machine" | "version";
  "approval.requested": "incident" | "task_id" | "binding" | "action" | "target" | "why" | "wait_s";
  "approval.granted": "incident" | "task_id" | "binding";
  "approval.denied": "incident" | "task_id" | "binding" | "reason";
  "approval.expired": "incident" | "task_id" | "binding" | "action" | "target" | "wait_s";
  "timer": "machine" | "timer_id" | "due_us" | "purpose" | "incident" | "task_id" | "number";
  "audit.checkpoint": "n" | "rows" | "journal_seq" | "head" | "signature";
}
