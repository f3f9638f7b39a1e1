"""What happens at Stripe by itself as time passes. Called often; does what is due, and nothing twice."""

from farebox.sandbox.world import World


def catch_up(world: World) -> None:
    """Bring the world up to its clock."""
    world.news.set()
