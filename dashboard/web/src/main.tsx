import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App } from "./app/App";
import { store } from "./app/store";
import "./styles/base.css";
import "./styles/parts.css";
import "./styles/flow.css";

store.start();
// A page that is closed or put aside gives its stream back; one that comes back goes on behind its last entry.
window.addEventListener("pagehide", () => store.stop());
window.addEventListener("pageshow", (event) => {
  if (event.persisted) store.start();
});

createRoot(document.getElementById("root")!).render(
  <StrictMode>
    <App />
  </StrictMode>,
);
