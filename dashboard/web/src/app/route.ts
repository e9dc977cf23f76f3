/** Where the page is, all of it in the address: a link opens the same view with the same selection for somebody else. */

import { useSyncExternalStore } from "react";

export const VIEWS = [
  { id: "overview", name: "Overview", key: "o", icon: "pulse" },
  { id: "topology", name: "Topology", key: "t", icon: "graph" },
  { id: "incident", name: "Incident", key: "i", icon: "report" },
  { id: "plan", name: "Plan", key: "p", icon: "plan" },
  { id: "model", name: "Model", key: "m", icon: "chat" },
  { id: "timeline", name: "Timeline", key: "l", icon: "list" },
  { id: "approvals", name: "Approvals", key: "a", icon: "hand" },
  { id: "agents", name: "Agents", key: "g", icon: "agent" },
  { id: "broker", name: "Broker", key: "b", icon: "stream" },
  { id: "faults", name: "Faults and runs", key: "f", icon: "bolt" },
  { id: "replay", name: "Replay", key: "r", icon: "replay" },
] as const;

export type ViewId = (typeof VIEWS)[number]["id"];
export type Params = Readonly<Record<string, string>>;

export interface Route {
  readonly view: ViewId;
  readonly params: Params;
}

/** What stays when another view is opened: the incident one follows and the replay one is in. */
const KEPT = ["incident", "replay", "at"] as const;

export function parse(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?");
  const view = VIEWS.find((item) => item.id === path)?.id ?? "overview";
  return { view, params: Object.fromEntries(new URLSearchParams(query)) };
}

export function format(view: ViewId, params: Readonly<Record<string, string | null | undefined>>): string {
  const set = Object.entries(params).filter((pair): pair is [string, string] => Boolean(pair[1]));
  const query = new URLSearchParams(set).toString();
  return `#/${view}${query ? `?${query}` : ""}`;
}

type Change = Readonly<Record<string, string | null | undefined>>;

/** Address of another view; null in `change` leaves a parameter out. */
export function href(view: ViewId, change: Change = {}): string {
  const kept = Object.fromEntries(KEPT.map((name) => [name, current.params[name]]));
  return format(view, { ...kept, ...change });
}

export function go(view: ViewId, change: Change = {}): void {
  location.hash = href(view, change);
}

/** Change parameters of this view; without a step in the browser's history. */
export function adjust(change: Change): void {
  const next = format(current.view, { ...current.params, ...change });
  if (next === location.hash) return;
  history.replaceState(null, "", next);
  read();
}

let current: Route = parse(typeof location === "undefined" ? "" : location.hash);
const listeners = new Set<() => void>();

function read(): void {
  current = parse(location.hash);
  for (const listener of listeners) listener();
}

if (typeof window !== "undefined") window.addEventListener("hashchange", read);

export function useRoute(): Route {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => current,
  );
}
