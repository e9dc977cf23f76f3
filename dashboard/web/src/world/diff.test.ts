import { describe, expect, it } from "vitest";
import { planOf, task } from "../testing/journal";
import { diffPlans } from "./diff";

describe("the difference between two plans", () => {
  it("matches tasks by what they do, since their ids start anew", () => {
    const older = planOf(1, [task("t1", "check_logs", "orders"), task("t2", "restart", "orders", { dependencies: ["t1"] })]);
    const newer = planOf(2, [task("t1", "restart", "orders", { dependencies: [] }), task("t2", "reconcile", "catalog")]);
    const diff = diffPlans(older, newer);
    expect(diff.marks).toEqual({ t1: "changed", t2: "new" });
    expect(diff.was.t1).toBe("came after check_logs orders");
    expect(diff.removed.map((item) => item.type)).toEqual(["check_logs"]);
  });

  it("finds none between a plan and itself", () => {
    const plan = planOf(1, [task("t1", "check_logs", "orders", { args: { pattern: "x" } }), task("t2", "restart", "orders", { dependencies: ["t1"] })]);
    expect(diffPlans(plan, plan)).toEqual({ marks: { t1: "same", t2: "same" }, was: {}, removed: [] });
  });

  it("prefers the task with the same arguments among several of one kind", () => {
    const older = planOf(1, [task("t1", "check_logs", "orders", { args: { pattern: "a" } }), task("t2", "check_logs", "orders", { args: { pattern: "b" } })]);
    const newer = planOf(2, [task("t1", "check_logs", "orders", { args: { pattern: "b" } })]);
    expect(diffPlans(older, newer).marks).toEqual({ t1: "same" });
    expect(diffPlans(older, newer).removed[0]?.args).toEqual({ pattern: "a" });
  });
});
