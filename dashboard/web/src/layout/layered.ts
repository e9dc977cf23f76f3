import type { Places, Structure } from "./engine";

const BETWEEN = 72;
const BESIDE = 28;

/** Plain layers: each box one layer behind the furthest it depends on. Ends for cycles too, which plans never have. */
export function layered({ boxes, edges, direction }: Structure): Places {
  const depth = depths(boxes.map((box) => box.id), edges);
  const filled: number[] = [];
  const places: Record<string, { x: number; y: number }> = {};
  for (const box of boxes) {
    const level = depth[box.id] ?? 0;
    const across = filled[level] ?? 0;
    const [along, size] = direction === "RIGHT" ? [box.width, box.height] : [box.height, box.width];
    const main = level * (along + BETWEEN);
    filled[level] = across + size + BESIDE;
    places[box.id] = direction === "RIGHT" ? { x: main, y: across } : { x: across, y: main };
  }
  return places;
}

function depths(ids: readonly string[], edges: Structure["edges"]): Record<string, number> {
  const depth: Record<string, number> = Object.fromEntries(ids.map((id) => [id, 0]));
  for (let round = 0; round < ids.length; round++) {
    let moved = false;
    for (const { from, to } of edges) {
      const wanted = (depth[from] ?? 0) + 1;
      if (to in depth && from in depth && wanted > depth[to]! && wanted < ids.length) {
        depth[to] = wanted;
        moved = true;
      }
    }
    if (!moved) break;
  }
  return depth;
}
