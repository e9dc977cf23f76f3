import { useRef, useState } from "react";
import { announce } from "../parts/toasts";
import { ApiError, intention } from "./client";
import type { Done } from "./types";

export interface Command {
  readonly busy: boolean;
  readonly error: string | null;
  /** Send it; true if it was done. The same key is used until it was, so a second try cannot do it twice. */
  readonly send: (act: (key: string) => Promise<Done>) => Promise<Done | null>;
}

/** One intention of the user. Nothing is assumed: the page changes when the journal says so. */
export function useCommand(): Command {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const key = useRef("");
  const send = async (act: (key: string) => Promise<Done>): Promise<Done | null> => {
    if (busy) return null;
    if (!key.current) key.current = intention();
    setBusy(true);
    setError(null);
    try {
      const done = await act(key.current);
      key.current = "";
      announce(done.sentence, "good");
      return done;
    } catch (failure) {
      // A refusal ends the intention; without an answer the next try must be the same one.
      if (failure instanceof ApiError && failure.status >= 400 && failure.status < 500) key.current = "";
      const sentence = failure instanceof ApiError ? failure.message : "The answer of the API cannot be read.";
      setError(sentence);
      announce(sentence, "bad");
      return null;
    } finally {
      setBusy(false);
    }
  };
  return { busy, error, send };
}
