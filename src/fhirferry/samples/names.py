"""What people are called and where they live. Names of many scripts: whoever carries them must carry them all."""

from __future__ import annotations

import msgspec

from fhirferry.samples.fragments import table
from fhirferry.samples.rng import Dice


class Culture(msgspec.Struct, frozen=True):
    """Names that go together. language: BCP 47 code and its name. race: index into RACES. hispanic: the usual answer."""

    language: tuple[str, str]
    race: int
    hispanic: bool
    families: list[str]
    women: list[str]
    men: list[str]


class Place(msgspec.Struct, frozen=True):
    """A town. latitude, longitude: ten-thousandths of a degree, west as a positive number."""

    city: str
    state: str
    postal: str
    latitude: int
    longitude: int


RACES = (
    ("2106-3", "White"),
    ("2054-5", "Black or African American"),
    ("2028-9", "Asian"),
    ("1002-5", "American Indian or Alaska Native"),
    ("2076-8", "Native Hawaiian or Other Pacific Islander"),
)
HISPANIC = ("2135-2", "Hispanic or Latino")
NOT_HISPANIC = ("2186-5", "Not Hispanic or Latino")

_ENGLISH = """Adams Baker Clarke Davies Evans Fletcher Griffin Harrison Ingram Jackson Keller Lambert Mitchell Norris
O'Brien Parker Quinn Roberts Stevenson Turner Underwood Vaughn Whitfield Young | Abigail Beth Charlotte Diane Emily Fiona
Grace Hannah Isobel June Katherine Laura Megan Nora Olivia Paige Ruth Sarah | Andrew Benjamin Caleb Daniel Ethan Frank
George Henry Isaac James Kenneth Liam Matthew Nathan Oscar Peter Robert Samuel"""

_CULTURES: tuple[tuple[int, str, int, bool, str], ...] = (
    (42, "en-US|English", 0, False, _ENGLISH),
    (12, "en-US|English", 1, False, _ENGLISH),
    (
        18,
        "es|Spanish",
        0,
        True,
        "Muñoz Núñez García Hernández Peña Ibáñez Ordóñez Quiñones Vásquez Zúñiga Acuña Castañeda | María Begoña Concepción "
        "Inés Lucía Sofía Ángela Rocío | José Ángel Andrés Iñaki Joaquín Martín Óscar Tomás",
    ),
    (
        6,
        "pl|Polish",
        0,
        False,
        "Łukaszewski Wiśniewska Dąbrowski Wójcik Kamińska Żuławski Świątek Gałązka | Małgorzata Łucja Agnieszka Zofia Żaneta "
        "| Łukasz Paweł Michał Stanisław Błażej",
    ),
    (
        4,
        "fr|French",
        0,
        False,
        "Lefèvre Béranger Côté Gagné Deschênes L'Écuyer | Zoé Hélène Françoise Chloé Anaïs | Rémi François Loïc Jérôme Benoît",
    ),
    (
        3,
        "de|German",
        0,
        False,
        "Müller Größer Schäfer Voß Jürgensen Ångström Sørensen | Käthe Jördis Brünhild Søs | Jörg Günther Sören Jürgen",
    ),
    (4, "zh|Chinese", 2, False, "王 李 張 劉 陳 漢 歐陽 司馬 | 秀英 麗華 雪梅 美玲 字安 | 偉 建國 志明 家豪 字文"),
    (2, "ja|Japanese", 2, False, "佐藤 鈴木 高橋 渡辺 齋藤 小笠原 | さくら 陽菜 美咲 葵 | 翔太 大輔 健一 蓮"),
    (
        3,
        "vi|Vietnamese",
        2,
        False,
        "Nguyễn Trần Phạm Đặng Huỳnh Võ | Thị Hương Phương Ngọc Ánh | Đức Dũng Quân Thắng",
    ),
    (3, "ar|Arabic", 0, False, "الحسيني الخطيب النجار المصري الشامي | فاطمة مريم ليلى نور | محمد أحمد يوسف عمر"),
    (
        2,
        "haw|Hawaiian",
        4,
        False,
        "Kealoha Kaʻahumanu Kalākaua Nāmāhoe | Leilani Kēhaulani Noelani | Kāne Ikaika Makoa",
    ),
    (1, "nv|Navajo", 3, False, "Begay Yazzie Tsosie Nez Béésh | Haseya Doli Yanaha | Niyol Ahiga Hashké"),
)


def _words(text: str) -> list[str]:
    return text.split()


def _culture(language: str, race: int, hispanic: bool, names: str) -> Culture:
    code, _, name = language.partition("|")
    families, women, men = (part.split() for part in names.split("|"))
    return Culture((code, name), race, hispanic, families, women, men)


CULTURES = [
    culture
    for weight, language, race, hispanic, names in _CULTURES
    for culture in [_culture(language, race, hispanic, names)] * weight
]
"""Each as often as it is met."""

PLACES = [
    Place(city, state, postal, int(latitude), int(longitude))
    for city, state, postal, latitude, longitude in table("""
Boston | MA | 02118 | 423385 | 710729
Worcester | MA | 01608 | 422626 | 718023
Springfield | MA | 01103 | 421015 | 725898
Lowell | MA | 01852 | 426334 | 713162
Ann Arbor | MI | 48104 | 422708 | 837263
Rochester | MN | 55902 | 440121 | 924802
Española | NM | 87532 | 359911 | 1060806
Las Cruces | NM | 88001 | 323199 | 1067637
San José | CA | 95112 | 373487 | 1218863
Cañon City | CO | 81212 | 384494 | 1052253
Coeur d’Alene | ID | 83814 | 476777 | 1167805
Kailua | HI | 96734 | 214022 | 1577394
Window Rock | AZ | 86515 | 356806 | 1090526
Mayagüez | PR | 00680 | 182013 | 671397
""")
]

STREETS = _words("""Maple Oak Cedar Elm Washington Lincoln Franklin Lakeview Hillside Chestnut Peña Señorial Riverside Church
Meadow Sunset Orchard Prospect Highland Jefferson""")
WAYS = _words("Street Avenue Road Lane Drive Court Boulevard")
NICKNAMES = ("🙂", "Zoë 🌻", "Bo", "Mimi", "T.J.", "Ñoño", "👩🏽‍⚕️ Doc")


def address(dice: Dice) -> tuple[str, Place]:
    """The line with the street, and the town."""
    line = f"{dice.between(1, 1999)} {dice.pick(STREETS)} {dice.pick(WAYS)}"
    if dice.chance(25):
        line += f" Apt {dice.between(1, 99)}"
    return line, dice.pick(PLACES)
