import type { Point } from "./engine";

/** A path through all points that leaves and reaches each of them along the graph's direction. */
export function through([first, ...rest]: readonly Point[], down: boolean): string {
  if (!first) return "";
  let { x, y } = first;
  const parts = [`M${x},${y}`];
  for (const next of rest) {
    const [midX, midY] = [(x + next.x) / 2, (y + next.y) / 2];
    parts.push(down ? `C${x},${midY} ${next.x},${midY} ${next.x},${next.y}` : `C${midX},${y} ${midX},${next.y} ${next.x},${next.y}`);
    ({ x, y } = next);
  }
  return parts.join(" ");
}
