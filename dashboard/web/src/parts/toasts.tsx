import { useEffect, useState } from "react";
import { Icon } from "./icons";
import type { Tone } from "./states";

interface Toast {
  readonly id: number;
  readonly text: string;
  readonly tone: Tone;
}

let listener: ((toast: Toast) => void) | null = null;
let counter = 0;

/** Say something for a few seconds; screen readers say it too. */
export function announce(text: string, tone: Tone): void {
  counter += 1;
  listener?.({ id: counter, text, tone });
}

const SHOWN_MS = 6_000;

export function Toasts() {
  const [toasts, setToasts] = useState<readonly Toast[]>([]);
  useEffect(() => {
    listener = (toast) => {
      setToasts((before) => [...before.slice(-3), toast]);
      window.setTimeout(() => setToasts((before) => before.filter((item) => item.id !== toast.id)), SHOWN_MS);
    };
    return () => {
      listener = null;
    };
  }, []);
  return (
    <div className="toasts" role="status" aria-live="polite">
      {toasts.map((toast) => (
        <p key={toast.id} className={`toast tone-${toast.tone}`}>
          <Icon name={toast.tone === "bad" ? "cross" : "check"} />
          <span>{toast.text}</span>
        </p>
      ))}
    </div>
  );
}
