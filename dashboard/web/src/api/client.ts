/** The page's way to the API: readings, and commands with a key that makes a second try harmless. */

import type { Scalar } from "../journal/messages";
import type { Operations } from "./schema";
import type { Done, JournalPage, Proof, Recording, Snapshot } from "./types";

const TOKEN = "triage-token";

/** The API refused, or did not answer; `sentence` is for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    sentence: string,
  ) {
    super(sentence);
  }

  /** No use to ask again before the user has done something. */
  get final(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

export function token(): string {
  return sessionStorage.getItem(TOKEN) ?? "";
}

export function keepToken(value: string): void {
  sessionStorage.setItem(TOKEN, value);
}

/** Relative to the page, so that it also works behind a path. */
function url(path: string, query: Readonly<Record<string, Scalar | null | undefined>> = {}): string {
  const wanted = Object.entries(query).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(wanted.map(([name, value]) => [name, String(value)])).toString();
  return `api/${path}${text ? `?${text}` : ""}`;
}

async function ask<T>(address: string, init: RequestInit = {}): Promise<T> {
  return JSON.parse(await (await answered(address, init)).text()) as T;
}

/** Fetch what is there; raises for everything else, in the API's own words. */
async function answered(address: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const key = token();
  if (key) headers.set("Authorization", `Bearer ${key}`);
  let answer: Response;
  try {
    answer = await fetch(address, { ...init, headers });
  } catch {
    throw new ApiError(0, "unreachable", "The API does not answer. Is the stack up? Try: triage status");
  }
  if (!answer.ok) throw refusal(answer.status, await answer.text());
  return answer;
}

function refusal(status: number, text: string): ApiError {
  try {
    const said = JSON.parse(text) as { error?: string; message?: string; next?: string };
    const sentence = [said.message, said.next].filter(Boolean).map(ended).join(" ");
    return new ApiError(status, said.error ?? "refused", sentence || `The API answered ${status}.`);
  } catch {
    return new ApiError(status, "refused", `The API answered ${status}.`);
  }
}

function ended(sentence = ""): string {
  return /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
}

function post(path: string, body: unknown, key: string): Promise<Done> {
  return ask<Done>(url(path), {
    method: "POST",
    headers: { "Content-Type": "application/json", "Idempotency-Key": key },
    body: JSON.stringify(body),
  });
}

/** A new key for one intention of the user: made when the form opens, not when it is sent. */
export function intention(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const part = encodeURIComponent;

type Answer<T extends keyof Operations> = Operations[T]["answer"];

export const api = {
  /** The whole timeline, or one incident's, as a file of JSON lines. A link could not show the token. */
  exported: async (incident: string | null): Promise<Blob> => (await answered(url("export", { incident }))).blob(),
  snapshot: () => ask<Snapshot>(url("snapshot")),
  events: (after: number) => new EventSource(url("events", { after, token: token() })),
  figures: () => ask<Answer<"GET /api/figures">>(url("figures")),
  agents: () => ask<Answer<"GET /api/agents">>(url("agents")),
  faults: () => ask<Answer<"GET /api/faults">>(url("faults")),
  broker: () => ask<Answer<"GET /api/broker">>(url("broker")),
  scenarios: () => ask<Answer<"GET /api/scenarios">>(url("scenarios")),
  runs: () => ask<Answer<"GET /api/runs">>(url("runs")),
  similar: (incident: string) =>
    ask<Answer<"GET /api/incidents/{incident}/similar">>(url(`incidents/${part(incident)}/similar`)),
  journal: (query: { after?: number; before?: number; limit?: number; incident?: string; telemetry?: boolean }) =>
    ask<JournalPage>(url("journal", query)),
  message: (seq: number) => ask<Proof>(url(`messages/${seq}`)),
  recordings: () => ask<Answer<"GET /api/recordings">>(url("recordings")),
  recording: (name: string) => ask<Recording>(url(`recordings/${part(name)}`)),

  report: (text: string, key: string) => post("incidents", { text }, key),
  answer: (incident: string, text: string, key: string) => post(`incidents/${part(incident)}/answer`, { text }, key),
  decide: (
    approval: { incident: string; taskId: string; binding: string },
    decision: "grant" | "deny",
    reason: string,
    key: string,
  ) =>
    post(
      `approvals/${part(approval.incident)}/${part(approval.taskId)}`,
      { decision, binding: approval.binding, reason },
      key,
    ),
  halt: (reason: string, key: string) => post("halt", { reason }, key),
  resume: (reason: string, key: string) => post("resume", { reason }, key),
  kill: (instance: string, signal: "KILL" | "STOP", key: string) =>
    post(`agents/${part(instance)}/kill`, { signal }, key),
  inject: (fault: string, target: string, args: Readonly<Record<string, number>>, key: string) =>
    post("faults", { fault, target, args }, key),
  heal: (id: string, key: string) => post(`faults/${part(id)}/heal`, {}, key),
};
