/** ELK in a worker of its own, loaded when the first graph is drawn. */

import type { ELK, ElkExtendedEdge } from "elkjs/lib/elk-api";
import { layered } from "./layered";

export interface Box {
  readonly id: string;
  readonly width: number;
  readonly height: number;
}

export interface Structure {
  readonly boxes: readonly Box[];
  readonly edges: readonly { readonly from: string; readonly to: string }[];
  readonly direction: "RIGHT" | "DOWN";
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

export interface Place extends Point {
  /** By where a line from here leads: its way there, round other boxes. */
  readonly ways?: Readonly<Record<string, readonly Point[]>>;
}

export type Places = Readonly<Record<string, Place>>;

let engine: Promise<ELK> | null = null;

async function start(): Promise<ELK> {
  const [module, worker] = await Promise.all([
    import("elkjs/lib/elk-api.js"),
    import("elkjs/lib/elk-worker.min.js?url"),
  ]);
  return new module.default({ algorithms: ["layered"], workerFactory: () => new Worker(worker.default) });
}

const GIVE_UP_MS = 8_000;

/** Return where each box stands. Where the engine cannot run or takes too long, boxes stand in plain layers. */
export async function place(structure: Structure): Promise<Places> {
  engine ??= start();
  try {
    return await Promise.race([arranged(await engine, structure), late()]);
  } catch {
    engine = null;
    return layered(structure);
  }
}

function late(): Promise<never> {
  return new Promise((_, reject) => setTimeout(() => reject(new Error("no layout in time")), GIVE_UP_MS));
}

async function arranged(elk: ELK, { boxes, edges, direction }: Structure): Promise<Places> {
  const lines: ElkExtendedEdge[] = edges.map(({ from, to }) => ({ id: `${from}>${to}`, sources: [from], targets: [to] }));
  const graph = await elk.layout({
    id: "root",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": direction,
      // Room for what is written on a line.
      "elk.layered.spacing.nodeNodeBetweenLayers": direction === "RIGHT" ? "150" : "56",
      "elk.spacing.nodeNode": "28",
      "elk.edgeRouting": "POLYLINE",
      "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
      "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
    },
    children: boxes.map(({ id, width, height }) => ({ id, width, height })),
    edges: lines,
  });
  const ways: Record<string, Record<string, readonly Point[]>> = {};
  for (const { sources, targets, sections } of graph.edges ?? []) {
    const way = sections?.[0];
    if (way) (ways[sources[0]!] ??= {})[targets[0]!] = [way.startPoint, ...(way.bendPoints ?? []), way.endPoint];
  }
  return Object.fromEntries((graph.children ?? []).map(({ id, x = 0, y = 0 }) => [id, { x, y, ways: ways[id] ?? {} }]));
}
