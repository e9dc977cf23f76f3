import { useCallback, useEffect, useRef, useState } from "react";
import { ApiError } from "./client";

export interface Reading<T> {
  readonly data: T | null;
  readonly error: string | null;
  readonly again: () => void;
}

/**
 * Read something from the API and keep it fresh. What was read stays while it is read again, and after a failure.
 *
 * `key` is what it depends on: a change reads at once. `everyMs` 0 reads once. A hidden page does not read.
 */
export function useReading<T>(read: () => Promise<T>, key: string, everyMs: number): Reading<T> {
  const [state, setState] = useState<{ key: string; data: T | null; error: string | null }>({ key, data: null, error: null });
  const [tries, setTries] = useState(0);
  const reader = useRef(read);
  reader.current = read;
  useEffect(() => {
    let over = false;
    let timer = 0;
    const next = (): void => {
      if (!over && everyMs) timer = window.setTimeout(run, everyMs);
    };
    const run = (): void => {
      if (document.hidden && everyMs) return next();
      reader.current().then(
        (data) => {
          if (!over) setState({ key, data, error: null });
          next();
        },
        (error: unknown) => {
          const sentence = error instanceof ApiError ? error.message : "The answer of the API cannot be read.";
          if (!over) setState((before) => ({ key, data: before.key === key ? before.data : null, error: sentence }));
          next();
        },
      );
    };
    run();
    return () => {
      over = true;
      clearTimeout(timer);
    };
  }, [key, everyMs, tries]);
  const again = useCallback(() => setTries((count) => count + 1), []);
  return { data: state.key === key ? state.data : null, error: state.error, again };
}
