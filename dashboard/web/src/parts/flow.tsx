/** A graph that is looked at, never edited. The only importer of React Flow, loaded with the first graph. */

import "@xyflow/react/dist/base.css";
import {
  Background,
  BaseEdge,
  Controls,
  type Edge,
  type EdgeProps,
  Handle,
  MarkerType,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  useReactFlow,
} from "@xyflow/react";
import { type CSSProperties, memo, type ReactNode, useEffect, useMemo } from "react";
import type { Places, Point } from "../layout/engine";
import { through } from "../layout/way";
import type { Tone } from "./states";

export interface FlowNode {
  readonly id: string;
  readonly width: number;
  readonly height: number;
  /** What a screen reader says of it. */
  readonly label: string;
  readonly content: ReactNode;
}

export interface FlowEdge {
  readonly from: string;
  readonly to: string;
  readonly label?: string;
  readonly tone?: Tone;
  readonly dashed?: boolean;
  readonly moving?: boolean;
}

type Data = { content: ReactNode; down: boolean };
type BoxNode = Node<Data, "box">;

const Box = memo(({ data }: NodeProps<BoxNode>) => (
  <>
    <Handle type="target" position={data.down ? Position.Top : Position.Left} isConnectable={false} />
    {data.content}
    <Handle type="source" position={data.down ? Position.Bottom : Position.Right} isConnectable={false} />
  </>
));
Box.displayName = "Box";

type LedEdge = Edge<{ way: readonly Point[]; down: boolean }, "led">;

const ABOVE = 13;

/** A line that goes the layout's way: round the boxes between its ends, and beside other lines from the same box. */
const Led = memo(({ data, ...line }: EdgeProps<LedEdge>) => {
  const way = data?.way ?? [];
  const [before, after] = [way[Math.floor((way.length - 1) / 2)], way[Math.ceil((way.length - 1) / 2)]];
  // What is written stands above the line, not on it: a short line would be hidden, its arrow too.
  const above = data?.down ? 0 : ABOVE;
  const middle = before && after ? { labelX: (before.x + after.x) / 2, labelY: (before.y + after.y) / 2 - above } : {};
  const { label, labelBgPadding, markerEnd } = line;
  return <BaseEdge path={through(way, data?.down ?? false)} label={label} {...middle} {...given({ labelBgPadding, markerEnd })} />;
});
Led.displayName = "Led";

/** Without what is undefined. */
function given<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as { [K in keyof T]: Exclude<T[K], undefined> };
}

const TYPES = { box: Box };
const LINES = { led: Led };

const FIT = { padding: { left: "52px", top: "18px", right: "18px", bottom: "26px" }, maxZoom: 1.15 } as const;

function handlesOf(node: FlowNode, down: boolean): NonNullable<BoxNode["handles"]> {
  const at = { width: 1, height: 1 };
  const middle = { x: node.width / 2, y: node.height / 2 };
  return [
    { ...at, type: "target", position: down ? Position.Top : Position.Left, x: down ? middle.x : 0, y: down ? 0 : middle.y },
    { ...at, type: "source", position: down ? Position.Bottom : Position.Right, x: down ? middle.x : node.width, y: down ? node.height : middle.y },
  ];
}

export interface FlowProps {
  readonly nodes: readonly FlowNode[];
  readonly edges: readonly FlowEdge[];
  readonly places: Places;
  readonly down: boolean;
  readonly selected: string | null;
  readonly onSelect: (id: string | null) => void;
  readonly label: string;
}

export default function Flow({ nodes, edges, places, down, selected, onSelect, label }: FlowProps) {
  const drawn = useMemo<BoxNode[]>(
    () =>
      nodes.map((node) => ({
        id: node.id,
        type: "box",
        position: places[node.id] ?? { x: 0, y: 0 },
        width: node.width,
        height: node.height,
        // Known beforehand, so that a new state of a box neither measures it anew nor drops its lines meanwhile.
        measured: { width: node.width, height: node.height },
        handles: handlesOf(node, down),
        data: { content: node.content, down },
        selected: node.id === selected,
        draggable: false,
        connectable: false,
        ariaLabel: node.label,
      })),
    [nodes, places, down, selected],
  );
  const lines = useMemo<Edge[]>(
    () =>
      edges.map((edge) => ({
        id: `${edge.from}>${edge.to}`,
        source: edge.from,
        target: edge.to,
        ...(edge.label ? { label: edge.label } : {}),
        className: `tone-${edge.tone ?? "calm"} ${edge.dashed ? "dashed" : ""}`,
        animated: edge.moving ?? false,
        focusable: false,
        markerEnd: { type: MarkerType.ArrowClosed, width: 16, height: 16 },
        labelBgPadding: [4, 1] as [number, number],
        ...led(places, edge, down),
      })),
    [edges, places, down],
  );
  // So tall that all of it fits, as far as the view has room: a plan of three steps leaves no empty field.
  const tall = useMemo(() => tallOf(nodes, places), [nodes, places]);
  return (
    <div className="flow" role="group" aria-label={label} style={{ "--tall": `${tall}px` } as CSSProperties}>
      <ReactFlow
        nodes={drawn}
        edges={lines}
        nodeTypes={TYPES}
        edgeTypes={LINES}
        fitView
        fitViewOptions={FIT}
        minZoom={0.15}
        maxZoom={2}
        nodesDraggable={false}
        nodesConnectable={false}
        edgesFocusable={false}
        deleteKeyCode={null}
        zoomOnScroll={false}
        preventScrolling={false}
        onlyRenderVisibleElements={nodes.length > 60}
        onNodeClick={(_, node) => onSelect(node.id)}
        onPaneClick={() => onSelect(null)}
        onSelectionChange={({ nodes: chosen }) => {
          const id = chosen[0]?.id;
          if (id && id !== selected) onSelect(id);
        }}
      >
        <Background gap={22} />
        <Controls showInteractive={false} />
        <Refit shape={Object.keys(places).join()} />
      </ReactFlow>
    </div>
  );
}

function led(places: Places, edge: FlowEdge, down: boolean): Partial<Edge> {
  const way = places[edge.from]?.ways?.[edge.to];
  return way ? { type: "led", data: { way, down } } : {};
}

const AROUND = 90;

function tallOf(nodes: readonly FlowNode[], places: Places): number {
  const tops = nodes.map((node) => places[node.id]?.y ?? 0);
  const bottoms = nodes.map((node) => (places[node.id]?.y ?? 0) + node.height);
  return Math.ceil((Math.max(0, ...bottoms) - Math.min(0, ...tops)) * FIT.maxZoom) + AROUND;
}

/** Fit again when other boxes are shown or the window changes; never when only states do. */
function Refit({ shape }: { shape: string }) {
  const { fitView } = useReactFlow();
  useEffect(() => {
    const fit = (): void => void fitView(FIT);
    const id = requestAnimationFrame(fit);
    window.addEventListener("resize", fit);
    return () => {
      cancelAnimationFrame(id);
      window.removeEventListener("resize", fit);
    };
  }, [shape, fitView]);
  return null;
}
