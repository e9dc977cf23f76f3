import { useShown } from "../app/context";
import { adjust, useRoute, type ViewId } from "../app/route";
import type { IncidentView } from "../world/model";
import { newestIncident, phase } from "../world/select";
import { Badge, Moment } from "./basic";
import { phaseLook } from "./states";

/** The incident of the address, or else the newest one: open ones first. */
export function useIncident(): IncidentView | null {
  const { world } = useShown();
  const { params } = useRoute();
  return (params.incident ? world.incidents[params.incident] : null) ?? newestIncident(world);
}

export function IncidentPicker({ view }: { view: ViewId }) {
  const { world } = useShown();
  const incident = useIncident();
  const { params } = useRoute();
  if (!incident) return null;
  const missing = params.incident && !world.incidents[params.incident];
  return (
    <div className="bar" data-view={view}>
      <label>
        Incident{" "}
        <select
          value={params.incident && !missing ? params.incident : ""}
          onChange={(event) => adjust({ incident: event.target.value || null, plan: null, task: null, run: null })}
        >
          <option value="">newest: {incident.id}</option>
          {world.incidentOrder.map((id) => (
            <option key={id} value={id}>
              {id} · {world.incidents[id]?.text.replaceAll("\n", " ").slice(0, 60)}
            </option>
          ))}
        </select>
      </label>
      <Badge look={phaseLook(phase(incident).name)} detail={phase(incident).detail} />
      <span className="faint">
        reported <Moment us={incident.reportedUs} relative />
      </span>
      {missing ? <span>{params.incident} is not known here; this is the newest.</span> : null}
    </div>
  );
}
