import { describe, expect, it } from "vitest";
import { format, parse } from "../app/route";
import { layered } from "../layout/layered";
import { through } from "../layout/way";
import { structureKey } from "../layout/useLayout";
import { Journal } from "../testing/journal";
import { linesOf, strip, windowOf } from "./compress";
import { ago, bytes, command, isoOf, span, timeOf } from "./format";
import { haystack, sentenceOf } from "./rows";

describe("addresses", () => {
  it("come back as they were written", () => {
    const address = format("timeline", { q: "a b&c", seq: "12", group: null });
    expect(address).toBe("#/timeline?q=a+b%26c&seq=12");
    expect(parse(address)).toEqual({ view: "timeline", params: { q: "a b&c", seq: "12" } });
  });

  it("lead to the overview where nothing of the name exists", () => {
    expect(parse("#/nowhere?x=1").view).toBe("overview");
    expect(parse("").view).toBe("overview");
  });
});

describe("figures", () => {
  it("have the unit that fits", () => {
    expect([4.23, 250, 3_400, 65_000, 3_720_000].map(span)).toEqual(["4.2 ms", "250 ms", "3.40 s", "1 min 5 s", "1 h 2 min"]);
    expect(span(null)).toBe("–");
    expect(ago(400)).toBe("just now");
    expect(ago(12_300)).toBe("12 s ago");
    expect(bytes(1_500_000)).toBe("1.4 MiB");
  });

  it("keep the microseconds of a time that is copied", () => {
    expect(isoOf(1_700_000_000_123_456)).toBe("2023-11-14T22:13:20.123456Z");
    expect(timeOf(1_700_000_000_123_456, "utc")).toBe("22:13:20.123");
  });

  it("quote what a shell would read otherwise", () => {
    expect(command("triage", "report", "can't; rm -rf $HOME")).toBe(`triage report 'can'\\''t; rm -rf $HOME'`);
  });
});

describe("long lists", () => {
  it("draw only what can be seen", () => {
    expect(windowOf(34_000, 600, 34, 10_000)).toEqual([992, 1_026]);
    expect(windowOf(0, 600, 34, 3)).toEqual([0, 3]);
    expect(windowOf(9_999_999, 600, 34, 10)).toEqual([9, 10]);
    expect(windowOf(0, 600, 34, 0)).toEqual([0, 0]);
  });

  it("press quiet stretches together and show one line for each", () => {
    const { entries } = new Journal().reported("a").wait(60_000).reported("b").reported("c");
    expect(linesOf(entries, 5_000_000).map((line) => line.kind)).toEqual(["entry", "entry", "gap", "entry"]);
    const made = strip(entries, 4, 3_000);
    expect(made.bins.reduce((sum, value) => sum + value, 0)).toBe(3);
    expect(made.seqs[0]).toEqual([1, 1]);
    expect(made.seqs[3]).toEqual([2, 3]);
  });
});

describe("a row", () => {
  it("gives script as the text it is", () => {
    const { entries } = new Journal().say("incident.reported", { incident: "i", text: "<script>x</script>", source: "operator" });
    expect(sentenceOf(entries[0]!)).toBe("<script>x</script>");
    expect(haystack(entries[0]!)).toContain("incident.reported");
  });
});

describe("layouts", () => {
  it("lead a line through every point of its way, and leave and reach each along the graph's direction", () => {
    const way = [{ x: 0, y: 10 }, { x: 40, y: 0 }, { x: 100, y: 30 }];
    expect(through(way, false)).toBe("M0,10 C20,10 20,0 40,0 C70,0 70,30 100,30");
    expect(through(way, true)).toBe("M0,10 C0,5 40,5 40,0 C40,15 100,15 100,30");
    expect(through([], false)).toBe("");
  });

  const box = (id: string) => ({ id, width: 100, height: 50 });
  const structure = { boxes: [box("a"), box("b"), box("c")], edges: [{ from: "a", to: "b" }, { from: "b", to: "c" }], direction: "RIGHT" as const };

  it("depend on the structure and on nothing else", () => {
    expect(structureKey(structure)).toBe(structureKey(structuredClone(structure)));
    expect(structureKey({ ...structure, edges: [] })).not.toBe(structureKey(structure));
  });

  it("in plain layers put what depends behind, and end for a cycle", () => {
    expect(layered(structure).c!.x).toBeGreaterThan(layered(structure).b!.x);
    const cycle = { ...structure, edges: [...structure.edges, { from: "c", to: "a" }] };
    expect(Object.keys(layered(cycle))).toEqual(["a", "b", "c"]);
  });
});
