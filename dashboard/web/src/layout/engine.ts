/** ELK in a worker of its own, loaded when the first graph is drawn. */

import type { ELK } from "elkjs/lib/elk-api";
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

export type Places = Readonly<Record<string, { readonly x: number; readonly y: number }>>;

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
  const graph = await elk.layout({
    id: "root",
    layoutOptions: {
      "elk.algorithm": "layered",
      "elk.direction": direction,
      // Room for what is written on a line.
      "elk.layered.spacing.nodeNodeBetweenLayers": direction === "RIGHT" ? "116" : "56",
      "elk.spacing.nodeNode": "28",
      "elk.layered.nodePlacement.strategy": "NETWORK_SIMPLEX",
      "elk.layered.considerModelOrder.strategy": "NODES_AND_EDGES",
    },
    children: boxes.map(({ id, width, height }) => ({ id, width, height })),
    edges: edges.map(({ from, to }) => ({ id: `${from}>${to}`, sources: [from], targets: [to] })),
  });
  return Object.fromEntries((graph.children ?? []).map((node) => [node.id, { x: node.x ?? 0, y: node.y ?? 0 }]));
}
