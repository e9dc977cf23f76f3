/** The keyboard. Keys never act while somebody types. */

import { useEffect, useRef } from "react";
import { api, ApiError, intention } from "../api/client";
import { announce } from "../parts/toasts";
import { player } from "../replay/player";
import { go, VIEWS } from "./route";

export interface Opened {
  readonly palette: () => void;
  readonly help: () => void;
}

export const KEYS: readonly (readonly [string, string])[] = [
  ["Ctrl K", "find and open anything"],
  ["?", "this help"],
  ["/", "search the timeline"],
  ["j  k", "next and previous row of a list"],
  ["F12 or Shift K", "kill the agent that has the focus"],
  ["Shift H", "halt: nothing acts any more"],
  ["Space", "replay: play or pause"],
  [",  .", "replay: one message back or on"],
  ["[  ]", "replay: previous or next decision"],
  ["Esc", "close what is open"],
];

const SECOND_MS = 1_200;

/** Return whether a key now is the second of two, whose first was pressed at `leader`; null: there was none. Both in ms. */
export function isSecond(leader: number | null, now: number): boolean {
  return leader !== null && now - leader < SECOND_MS;
}

export function useKeys(opened: Opened, replaying: boolean): void {
  const wanted = useRef({ opened, replaying });
  wanted.current = { opened, replaying };
  useEffect(() => {
    let leader: number | null = null;
    const press = (event: KeyboardEvent): void => {
      const { opened: open, replaying: playing } = wanted.current;
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        return open.palette();
      }
      const agent = focusedAgent();
      if (agent && (event.key === "F12" || (event.shiftKey && event.key === "K" && !typing(event)))) {
        event.preventDefault();
        return void kill(agent);
      }
      if (typing(event) || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
      if (isSecond(leader, performance.now())) {
        leader = null;
        const view = VIEWS.find((item) => item.key === event.key);
        if (view) {
          event.preventDefault();
          return go(view.id);
        }
      }
      if (event.key === "g") {
        leader = performance.now();
        return;
      }
      if (single(event, open, playing)) event.preventDefault();
    };
    window.addEventListener("keydown", press);
    return () => window.removeEventListener("keydown", press);
  }, []);
}

/** Return whether the key was used. */
function single(event: KeyboardEvent, open: Opened, playing: boolean): boolean {
  switch (event.key) {
    case "?":
      open.help();
      return true;
    case "/":
      search();
      return true;
    case "H":
      document.querySelector<HTMLButtonElement>("button[data-halt]")?.click();
      return true;
    case "j":
    case "k":
      document.querySelector<HTMLElement>("[data-list]")?.focus();
      return toList(event);
    case " ":
      if (!playing || (event.target as HTMLElement).closest("button,a,summary,input,select")) return false;
      document.querySelector<HTMLButtonElement>(".replay .primary")?.click();
      return true;
    case ",":
    case ".":
    case "[":
    case "]":
      return playing && press(event.key);
    case "Escape":
      (document.activeElement as HTMLElement | null)?.blur();
      return false;
    default:
      return false;
  }
}

const BUTTONS: Readonly<Record<string, string>> = {
  ",": "−1: one message back",
  ".": "+1: one message on",
  "[": "Previous decision",
  "]": "Next decision",
};

function press(key: string): boolean {
  player.pause();
  document.querySelector<HTMLButtonElement>(`.replay button[aria-label="${BUTTONS[key]}"]`)?.click();
  return true;
}

function toList(event: KeyboardEvent): boolean {
  const list = document.querySelector<HTMLElement>("[data-list]");
  list?.dispatchEvent(new KeyboardEvent("keydown", { key: event.key, bubbles: true, cancelable: true }));
  return list !== null;
}

function search(): void {
  const there = document.querySelector<HTMLInputElement>("[data-search]");
  if (there) return there.focus();
  go("timeline");
  setTimeout(() => document.querySelector<HTMLInputElement>("[data-search]")?.focus(), 80);
}

function typing(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement;
  return target.matches("input:not([type=range]):not([type=checkbox]), textarea, select") || target.isContentEditable;
}

/** The agent on whose card or node the focus is. */
export function focusedAgent(): string | null {
  const active = document.activeElement;
  if (!active || active === document.body) return null;
  const holder = active.closest("[data-agent]") ?? (active.matches(".react-flow__node") ? active.querySelector("[data-agent]") : null);
  return holder?.getAttribute("data-agent") ?? null;
}

async function kill(agent: string): Promise<void> {
  try {
    announce((await api.kill(agent, "KILL", intention())).sentence, "warn");
  } catch (error) {
    announce(error instanceof ApiError ? error.message : `${agent} could not be killed.`, "bad");
  }
}

