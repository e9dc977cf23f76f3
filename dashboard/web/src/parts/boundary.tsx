import { Component, type ReactNode } from "react";
import { Failure } from "./basic";

/** Keeps a view that cannot be drawn from taking the page, and its halt control, with it. */
export class Boundary extends Component<{ children: ReactNode }, { failed: string | null }> {
  override state: { failed: string | null } = { failed: null };

  static getDerivedStateFromError(error: unknown): { failed: string } {
    return { failed: error instanceof Error ? error.message : "unknown" };
  }

  override render(): ReactNode {
    if (this.state.failed === null) return this.props.children;
    return <Failure sentence={`This view cannot be drawn: ${this.state.failed}`} again={() => this.setState({ failed: null })} />;
  }
}
