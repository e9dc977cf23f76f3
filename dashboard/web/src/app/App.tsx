import { lazy, Suspense, useEffect, useMemo, useRef, useState, type ComponentType } from "react";
import { Failure, Loading } from "../parts/basic";
import { Boundary } from "../parts/boundary";
import type { Clock } from "../parts/format";
import { span } from "../parts/format";
import { HaltControl } from "../parts/halt";
import { Help } from "../parts/help";
import { Icon, type IconName } from "../parts/icons";
import { Palette, type PaletteItem } from "../parts/palette";
import { ReplayBar } from "../parts/replaybar";
import { Toasts } from "../parts/toasts";
import { TokenForm } from "../parts/token";
import { usePlayer, useShownWorld } from "../replay/player";
import { fallbacks, meter, openIncidents } from "../world/select";
import { NOTHING } from "../world/model";
import { PROMISED_MS } from "../world/agents";
import { ClockContext, ShownContext, useNow, useSetting, useShown, type Shown } from "./context";
import { useKeys } from "./keys";
import { adjust, href, useRoute, VIEWS, type ViewId } from "./route";
import { useLive, type Live } from "./store";

const PAGES: Readonly<Record<ViewId, ComponentType>> = {
  overview: lazy(() => import("../views/Overview")),
  topology: lazy(() => import("../views/Topology")),
  incident: lazy(() => import("../views/Incident")),
  plan: lazy(() => import("../views/Plan")),
  model: lazy(() => import("../views/Model")),
  timeline: lazy(() => import("../views/Timeline")),
  approvals: lazy(() => import("../views/Approvals")),
  agents: lazy(() => import("../views/Agents")),
  broker: lazy(() => import("../views/Broker")),
  faults: lazy(() => import("../views/Faults")),
  replay: lazy(() => import("../views/Replay")),
};

const THEMES = ["system", "light", "dark"] as const;
type Theme = (typeof THEMES)[number];

export function App() {
  const live = useLive();
  const route = useRoute();
  const replay = usePlayer();
  const replayed = useShownWorld(replay);
  const now = useNow(1_000);
  const [clock, setClock] = useSetting<Clock>("clock", "local", ["local", "utc"]);
  const [theme, setTheme] = useSetting<Theme>("theme", "system", THEMES);
  const [dialog, setDialog] = useState<"palette" | "help" | null>(null);
  const replaying = Boolean(route.params.replay);
  useKeys({ palette: () => setDialog("palette"), help: () => setDialog("help") }, replaying);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const name = VIEWS.find((view) => view.id === route.view)!.name;
  useEffect(() => {
    document.title = `${name} · Agentic Triage`;
  }, [name]);
  const world = replaying ? (replayed ?? NOTHING) : live.world;
  const nowUs = replaying ? world.timeUs : Math.max(world.timeUs, (now - live.skewMs) * 1_000);
  const shown = useMemo<Shown>(() => ({ world, live: !replaying, nowUs, snapshot: live.snapshot }), [world, replaying, nowUs, live.snapshot]);
  const turn = (): void => setTheme(THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!);
  const flip = (): void => setClock(clock === "local" ? "utc" : "local");
  const actions: readonly PaletteItem[] = [
    { text: `Times: show ${clock === "local" ? "UTC" : "local time"}`, hint: "setting", icon: "clock", act: flip },
    ...THEMES.filter((item) => item !== theme).map((item) => ({ text: `Colours: ${item}`, hint: "setting", icon: "sun" as const, act: () => setTheme(item) })),
    { text: "Keyboard help", hint: "?", icon: "question", act: () => setDialog("help") },
    ...(replaying ? [{ text: "Back to live", hint: "replay", icon: "replay" as const, act: () => adjust({ replay: null, at: null }) }] : []),
  ];
  const Page = PAGES[route.view];
  return (
    <ClockContext.Provider value={clock}>
      <ShownContext.Provider value={shown}>
        <a className="skip" href="#main" onClick={(event) => { event.preventDefault(); document.getElementById("main")?.focus(); }}>
          To the content
        </a>
        <header className="top">
          <a className="brand" href={href("overview")}>
            <Icon name="pulse" size={20} /> <span>Agentic Triage</span>
          </a>
          <LinkBadge live={live} now={now} />
          <SmallMeter />
          <span className="spring" />
          <button type="button" className="quiet" onClick={() => setDialog("palette")} title="Find and open (Ctrl+K)">
            <span className="wide-only">Find</span> <kbd>Ctrl K</kbd>
          </button>
          <button type="button" className="quiet" onClick={flip} title="Local or UTC times">
            <Icon name="clock" /> <span className="wide-only">{clock === "utc" ? "UTC" : "local"}</span>
          </button>
          <button type="button" className="quiet" onClick={turn} title="Light, dark or as the system" aria-label={`Colours: ${theme}`}>
            <Icon name="sun" /> <span className="wide-only">{theme}</span>
          </button>
          <button type="button" className="quiet" onClick={() => setDialog("help")} title="Keyboard (?)" aria-label="Keyboard help">
            <Icon name="question" />
          </button>
          <HaltControl />
        </header>
        <Nav current={route.view} />
        <main id="main" tabIndex={-1} className={replaying ? "with-replay" : ""}>
          <h1 className="hidden">{name}</h1>
          {replaying ? <p className="replay-note"><Icon name="replay" /> Replay: what stands here is the past.</p> : null}
          <Cue />
          {live.link === "refused" ? <TokenForm sentence={live.sentence} /> : null}
          {live.link === "broken" && !replaying ? <Failure sentence={`${live.sentence || "The connection is lost"}. It is tried again by itself.`} /> : null}
          {live.link === "live" && !live.connected && !replaying ? (
            <Failure sentence="The stack's broker does not answer. What stands here is what was heard last; nothing can be commanded until it is back, and the page then goes on by itself." />
          ) : null}
          {live.snapshot || live.link !== "loading" ? (
            live.link === "refused" ? null : (
              <Boundary key={route.view}>
                <Suspense fallback={<Loading what={name} />}>
                  <Page />
                </Suspense>
              </Boundary>
            )
          ) : (
            <Loading what="The state of the system" />
          )}
        </main>
        {replaying ? <ReplayBar state={replay} /> : null}
        {dialog === "palette" ? <Palette onClose={() => setDialog(null)} actions={actions} /> : null}
        {dialog === "help" ? <Help onClose={() => setDialog(null)} /> : null}
        <Toasts />
      </ShownContext.Provider>
    </ClockContext.Provider>
  );
}

function Nav({ current }: { current: ViewId }) {
  const { world } = useShown();
  const waiting = Object.values(world.approvals).filter((item) => item.state === "open").length;
  const open = openIncidents(world).length;
  const counts: Partial<Record<ViewId, number>> = { approvals: waiting, incident: open };
  const bar = useRef<HTMLElement>(null);
  useEffect(() => {
    // On a phone the bar is wider than the screen: the view that is shown must not stand outside it.
    const here = bar.current?.querySelector<HTMLElement>("[aria-current=page]");
    if (bar.current && here) bar.current.scrollLeft = here.offsetLeft - (bar.current.clientWidth - here.offsetWidth) / 2;
  }, [current]);
  return (
    <nav aria-label="Views" ref={bar}>
      <ul>
        {VIEWS.map((view) => (
          <li key={view.id}>
            <a href={href(view.id)} aria-current={view.id === current ? "page" : undefined} title={`${view.name} (g ${view.key})`}>
              <Icon name={view.icon as IconName} />
              <span>{view.name}</span>
              {counts[view.id] ? <b className="count">{counts[view.id]}</b> : null}
            </a>
          </li>
        ))}
      </ul>
    </nav>
  );
}

/** No news for longer than this is worth a word: sensors speak every second. */
const QUIET_MS = 5_000;

function LinkBadge({ live, now }: { live: Live; now: number }) {
  const quiet = live.heardMs ? now - live.heardMs : 0;
  const [tone, icon, word]: [string, IconName, string] =
    live.link === "live"
      ? !live.connected
        ? ["bad", "cross", "stack away, waiting"]
        : quiet > QUIET_MS
          ? ["warn", "warn", `live, quiet for ${span(Math.floor(quiet / 1_000) * 1_000)}`]
          : ["good", "plug", "live"]
      : live.link === "loading"
        ? ["calm", "clock", "connecting"]
        : live.link === "broken"
          ? ["bad", "cross", "offline, trying again"]
          : ["bad", "stop", "refused"];
  return (
    <span className={`badge tone-${tone}`} role="status" title={live.sentence || `journal ${live.world.head}`}>
      <Icon name={icon} size={14} /> <span>{word}</span>
    </span>
  );
}

function SmallMeter() {
  const { world } = useShown();
  const { reassignMs } = meter(world);
  if (reassignMs === null) return null;
  const good = reassignMs <= PROMISED_MS;
  return (
    <a className={`badge tone-${good ? "good" : "bad"} wide-only`} href={href("agents")} title={`Last reassignment; promised: ${PROMISED_MS} ms`}>
      <Icon name="bolt" size={14} /> <span>{span(reassignMs)}</span>
    </a>
  );
}

/** The amber fallback cue. */
function Cue() {
  const { world } = useShown();
  const now = useMemo(() => fallbacks(world), [world]);
  if (now.length === 0) return null;
  return (
    <div className="cue" role="status" aria-live="assertive">
      {now.slice(-3).map((item) => (
        <p key={item.key}>
          <Icon name="retry" /> <strong>Fallback: {item.what}.</strong> {item.detail}
        </p>
      ))}
    </div>
  );
}
