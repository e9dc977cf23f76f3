import { useMemo, useState } from "react";
import { useShown } from "../app/context";
import { href, VIEWS } from "../app/route";
import { Dialog } from "./dialog";
import { Icon, type IconName } from "./icons";

interface Item {
  readonly text: string;
  readonly hint: string;
  readonly icon: IconName;
  readonly to?: string;
  readonly act?: () => void;
}

const MOST = 12;

/** Find and open anything: views, incidents, services, agents, messages by number, settings. */
export function Palette({ onClose, actions }: { onClose: () => void; actions: readonly Item[] }) {
  const { world, snapshot } = useShown();
  const [query, setQuery] = useState("");
  const [at, setAt] = useState(0);
  const items = useMemo<readonly Item[]>(
    () => [
      ...VIEWS.map((view) => ({ text: view.name, hint: `g ${view.key}`, icon: view.icon as IconName, to: href(view.id) })),
      ...actions,
      ...world.incidentOrder.map((id) => ({
        text: `Incident ${id}`,
        hint: world.incidents[id]?.text.slice(0, 60) ?? "",
        icon: "report" as const,
        to: href("incident", { incident: id }),
      })),
      ...(snapshot?.inventory.devices ?? []).map((device) => ({ text: device.name, hint: device.kind, icon: "box" as const, to: href("topology", { node: device.name }) })),
      ...Object.keys(world.agents).map((name) => ({ text: name, hint: "agent", icon: "agent" as const, to: href("topology", { node: name }) })),
    ],
    [world.incidentOrder, world.incidents, world.agents, snapshot, actions],
  );
  const words = query.toLowerCase().split(/\s+/).filter(Boolean);
  const number = /^\d+$/.test(query.trim()) ? [{ text: `Message ${query.trim()}`, hint: "timeline", icon: "list" as const, to: href("timeline", { seq: query.trim() }) }] : [];
  const found = [...number, ...items.filter((item) => words.every((word) => `${item.text} ${item.hint}`.toLowerCase().includes(word)))].slice(0, MOST);
  const open = (item: Item | undefined): void => {
    if (!item) return;
    onClose();
    if (item.act) item.act();
    else if (item.to) location.hash = item.to;
  };
  return (
    <Dialog title="Find and open" onClose={onClose}>
      <input
        type="search"
        className="palette"
        role="combobox"
        aria-expanded="true"
        aria-controls="palette-list"
        aria-activedescendant={found[at] ? `palette-${at}` : undefined}
        aria-label="What to open"
        placeholder="View, incident, service, agent, message number…"
        data-first
        value={query}
        onChange={(event) => {
          setQuery(event.target.value);
          setAt(0);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown") setAt(Math.min(at + 1, found.length - 1));
          else if (event.key === "ArrowUp") setAt(Math.max(at - 1, 0));
          else if (event.key === "Enter") open(found[at]);
          else return;
          event.preventDefault();
        }}
      />
      <ul id="palette-list" role="listbox" aria-label="Found" className="found">
        {found.map((item, index) => (
          <li key={item.text + item.hint} id={`palette-${index}`} role="option" aria-selected={index === at} onClick={() => open(item)} onPointerMove={() => setAt(index)}>
            <Icon name={item.icon} /> <span>{item.text}</span> <span className="faint">{item.hint}</span>
          </li>
        ))}
      </ul>
      {found.length === 0 ? <p className="empty">Nothing is called that.</p> : null}
    </Dialog>
  );
}

export type { Item as PaletteItem };
