"""Replies that admit not to know, and replies that only use such words."""

import pytest

from tinsmith.model.replies.unknown import admits_not_knowing


@pytest.mark.parametrize(
    "reply",
    [
        "I don't know.",
        "I\u2019m not sure about that.",
        "Sorry, I do not have that information.",
        "We cannot answer that here.",
        "I'm unable to provide the weather.",
        "I can only help with tea.",
        "That is outside my knowledge.",
        "Jag vet inte, tyvärr.",
        "Det vet jag inte.",
        "Jag kan inte svara på det.",
        "Vi har ingen information om det.",
        "Das weiß ich leider nicht.",
        "Ich kann diese Frage nicht beantworten.",
        "Dat weet ik niet.",
        "Je ne sais pas.",
        "No lo sé.",
        "Maaf, saya tidak tahu.",
    ],
)
def test_an_admission_is_one(reply):
    assert admits_not_knowing(reply)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "The capital is Canberra.",
        "If you do not know the colour, ask the shop.",
        "You cannot answer a letter after three weeks.",
        "Contact us if you are not sure.",
        "Data is not available on paper.",
        "Jag vet att det kostar 30 kr.",
        "Vi har information om alla teer.",
        "Ich weiß es: 30 Euro.",
        "You should know that it is not sold.",
    ],
)
def test_other_replies_are_not(reply):
    assert not admits_not_knowing(reply)
