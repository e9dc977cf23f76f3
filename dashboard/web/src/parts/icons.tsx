/** Small line drawings; every state has its own, so that none is told by colour alone. */

const PATHS = {
  check: "M3 8.5 6.5 12 13 4.5",
  cross: "M4 4l8 8M12 4l-8 8",
  warn: "M8 2.5 14 13.5H2zM8 6.5v3M8 11.5v.3",
  clock: "M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2zM8 5v3.2l2.2 1.4",
  play: "M5 3.5v9l7-4.5z",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  dash: "M4 8h8",
  skip: "M3 4l5 4-5 4zM10 4v8M13 4v8",
  retry: "M13 8a5 5 0 1 1-1.6-3.7M13 2.5v3h-3",
  hand: "M5 8V4.2a1 1 0 0 1 2 0V7m0-3.8a1 1 0 0 1 2 0V7m0-3a1 1 0 0 1 2 0v5.5A4.5 4.5 0 0 1 6.6 14C5 14 4 12.6 2.6 9.6a1 1 0 0 1 1.8-.8L5 10",
  stop: "M5.5 1.8h5l3.7 3.7v5l-3.7 3.7h-5L1.8 10.5v-5zM5.5 5.5l5 5M10.5 5.5l-5 5",
  question: "M5.5 6a2.5 2.5 0 1 1 3.6 2.2c-.8.4-1.1.9-1.1 1.8M8 12.6v.3",
  pulse: "M1 8h3l2-5 4 10 2-5h3",
  graph: "M3.5 3.5h3v3h-3zM9.5 9.5h3v3h-3zM3.5 9.5h3v3h-3zM5 6.5v3M6.5 11h3M6.5 5H11v4.5",
  report: "M3 2.5h10v8H8l-3 3v-3H3zM5.5 5.5h5M5.5 7.8h3",
  plan: "M2 3h4v3H2zM10 3h4v3h-4zM6 10h4v3H6zM4 6v2h8V6M8 8v2",
  chat: "M2 3h9v6H6l-2.5 2V9H2zM13 6h1v7l-2-1.5H7",
  list: "M2.5 4h.2M2.5 8h.2M2.5 12h.2M5.5 4h8M5.5 8h8M5.5 12h8",
  agent: "M5 6h6v6H5zM8 3v3M6.5 8.5v.5M9.5 8.5v.5M3 8v2M13 8v2M8 2.5v.3",
  stream: "M2 4.5c2-2 4 2 6 0s4 2 6 0M2 8.5c2-2 4 2 6 0s4 2 6 0M2 12.5c2-2 4 2 6 0s4 2 6 0",
  bolt: "M9 1.5 3.5 9H8l-1 5.5L12.5 7H8z",
  replay: "M7.5 4 3 8l4.5 4zM13 4 8.5 8l4.5 4z",
  link: "M6.5 9.5l3-3M5 8 3.6 9.4a2.1 2.1 0 0 0 3 3L8 11M8 5l1.4-1.4a2.1 2.1 0 0 1 3 3L11 8",
  copy: "M5.5 5.5h7v8h-7zM3.5 10.5v-8h7",
  sun: "M8 5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  menu: "M2.5 4h11M2.5 8h11M2.5 12h11",
  spark: "M8 2l1.3 4.7L14 8l-4.7 1.3L8 14l-1.3-4.7L2 8l4.7-1.3z",
  gear: "M8 5.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5zM8 2v2M8 12v2M2 8h2M12 8h2M3.8 3.8l1.4 1.4M10.8 10.8l1.4 1.4M12.2 3.8l-1.4 1.4M5.2 10.8l-1.4 1.4",
  database: "M3 4c0-2 10-2 10 0v8c0 2-10 2-10 0zM3 4c0 2 10 2 10 0M3 8c0 2 10 2 10 0",
  users: "M6 3.5a2 2 0 1 0 0 4 2 2 0 0 0 0-4zM2 13c0-4 8-4 8 0M11 4a1.8 1.8 0 0 1 0 3.6M11.5 9.5c1.8.3 2.5 1.6 2.5 3.5",
  box: "M2.5 5 8 2l5.5 3v6L8 14l-5.5-3zM2.5 5 8 8l5.5-3M8 8v6",
  first: "M4 3.5v9M12.5 3.5 6 8l6.5 4.5z",
  last: "M12 3.5v9M3.5 3.5 10 8l-6.5 4.5z",
  plug: "M5.5 2v3.5M10.5 2v3.5M4 5.5h8V8a4 4 0 0 1-8 0zM8 12v2.5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 16 }: { name: IconName; size?: number }) {
  return (
    <svg className="icon" viewBox="0 0 16 16" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
