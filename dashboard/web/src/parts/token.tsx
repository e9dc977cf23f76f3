import { useState } from "react";
import { keepToken } from "../api/client";
import { store } from "../app/store";
import { Failure } from "./basic";

/** Shown when the API wants a token: it is kept until this tab is closed, and stands in no address. */
export function TokenForm({ sentence }: { sentence: string }) {
  const [value, setValue] = useState("");
  return (
    <form
      className="panel token"
      onSubmit={(event) => {
        event.preventDefault();
        keepToken(value.trim());
        store.start();
      }}
    >
      <h2>This dashboard needs a token</h2>
      <Failure sentence={sentence} />
      <label>
        Token
        <input type="password" autoComplete="off" value={value} onChange={(event) => setValue(event.target.value)} />
      </label>
      <button type="submit" className="primary" disabled={!value.trim()}>
        Open
      </button>
    </form>
  );
}
