import { expect, test } from "vitest";
import { isSecond } from "./keys";

test("the first key after the page came up is no second one, however young the page is", () => {
  expect(isSecond(null, 300)).toBe(false);
});

test("a key soon after the leader is its second, a late one is not", () => {
  expect(isSecond(100, 300)).toBe(true);
  expect(isSecond(100, 1_400)).toBe(false);
});
