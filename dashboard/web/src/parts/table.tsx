import type { ReactNode } from "react";

interface Head {
  readonly name: string;
  readonly number: boolean;
}

/** The head of a column of figures. */
export const number = (name: string): Head => ({ name, number: true });

/** A table that scrolls by itself, by keyboard too. Its rows are the children. */
export function Table({ label, heads, children }: { label: string; heads: readonly (string | Head)[]; children: ReactNode }) {
  return (
    <div className="scrolls" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {heads.map((head) =>
              typeof head === "string" ? (
                <th key={head}>{head}</th>
              ) : (
                <th key={head.name} className="number">
                  {head.name}
                </th>
              ),
            )}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
