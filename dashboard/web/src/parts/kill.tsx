import { api } from "../api/client";
import { useCommand } from "../api/useCommand";
import { useShown } from "../app/context";
import { Icon } from "./icons";

/** Kills an agent's process for real; the process manager brings it back. */
export function KillButton({ instance }: { instance: string }) {
  const { live } = useShown();
  const { busy, send } = useCommand();
  if (!live) return null;
  return (
    <button type="button" className="danger" disabled={busy} onClick={() => void send((key) => api.kill(instance, "KILL", key))}>
      <Icon name="stop" size={14} /> {busy ? "Killing…" : "Kill"}
    </button>
  );
}
